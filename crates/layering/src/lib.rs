//! Checks the structure of the workspace (ARCHITECTURE.md, "Direction of dependencies"). All of it is test code: see
//! `tests/workspace/`.
