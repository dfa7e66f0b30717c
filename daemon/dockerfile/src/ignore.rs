//! `.dockerignore`: which paths of a build context are left out.
