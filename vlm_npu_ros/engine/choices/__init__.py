"""Choices: how they are asked for, and which one an answer decides for."""
