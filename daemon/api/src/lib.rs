//! The Docker Engine API's wire types, shared by daemon and command line.
