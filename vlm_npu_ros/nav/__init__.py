"""Missions: drive somewhere, look, ask, report; and behaviours for behaviour trees."""
