"""What differs between the model types of a Hugging Face folder. Imports nothing of ours."""
