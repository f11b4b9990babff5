"""What a chemist asks of a model: stationary points, vibrations, reactions, phonons."""
