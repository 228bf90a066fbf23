//! Running a neural network: load a model, feed pictures, get detections.
