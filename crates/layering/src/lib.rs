//! Checks the structure of the workspace (ARCHITECTURE.md, "Direction of dependencies"): dependencies between crates,
//! imports between modules, import cycles, and terms of the engine outside of its crate.
//!
//! The library is empty; everything is test code. The rules are tables in `tests/workspace/`, and the parser of the source
//! code is in `tests/workspace/checker/`. The crate must not depend on the crates that it checks: it reads their source.
