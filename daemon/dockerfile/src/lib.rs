//! Dockerfile text to typed instructions, and what goes with them: expansion, ignore files.
