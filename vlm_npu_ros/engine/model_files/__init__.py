"""What files of models say about themselves, without any runtime."""
