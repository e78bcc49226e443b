"""What a person can ask for, one file each, the same for every face."""
