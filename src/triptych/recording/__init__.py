"""What passes between stages: recorded, played back, compared; and answers to be run again."""
