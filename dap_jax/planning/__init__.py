"""What a training step will cost on machines that are not there: memory, work, traffic, time."""
