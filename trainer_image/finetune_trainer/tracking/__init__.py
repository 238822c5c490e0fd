"""A run's figures for those who watch it elsewhere: TensorBoard's event files, Weights & Biases, MLflow."""
