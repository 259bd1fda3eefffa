"""The one training loop, its objectives and the stages that use it."""
