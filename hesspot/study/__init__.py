"""What Hessians in the training data are worth: many runs, one comparison.

Rodriguez, Smith, Mendoza-Cortes, "Does Hessian Data Improve the Performance of Machine Learning Potentials?"
(arXiv 2503.07839), asked of any dataset: the same model trained with several losses, seeds and amounts of data, and
tested on stationary points of held-out reactions (Test), points along their paths (IRC) and normal-mode samples (NMS).
"""
