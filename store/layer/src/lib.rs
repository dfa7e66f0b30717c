//! Layers: tar to tree and back, where hostile input lives.
