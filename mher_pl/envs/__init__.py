"""The paper's tasks as Gymnasium environments, one at a time and in batches."""
