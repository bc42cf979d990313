"""MHER, Model-based Hindsight Experience Replay, as a PyTorch Lightning trainer."""




__version__ = "0.1.0"
