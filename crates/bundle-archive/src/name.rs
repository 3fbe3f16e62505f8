//! Validates names of entries.
//!
//! The rules are stricter than unpacking requires: a name that other tools would sanitise (`../`, `C:\`, a leading
//! slash) is refused, because the unpacked path would differ from the path in the archive.

/// The file at the root of a delivered bundle that marks it as complete.
pub const MARKER: &str = ".atq-bundle";
/// The file at the root of a delivered bundle that carriers lock.
pub const LOCK: &str = ".atq-lock";
const RESERVED: [&str; 2] = [MARKER, LOCK];
/// Maximum length of a component on Linux file systems, in bytes.
const MAX_COMPONENT: usize = 255;
/// Maximum length of a path on Linux, in bytes.
const MAX_NAME: usize = 4096;
/// Bundles do not need deeper trees, and these would make every walk expensive.
const MAX_DEPTH: usize = 100;

/// Converts the raw name of an entry to a relative path of components joined by `/`, without a trailing
/// slash. The path is empty if the name denotes the root itself (`./`).
///
/// # Errors The reason as a predicate, for example "has an empty name"; the caller prepends the name.
pub fn relative_path(name: &str) -> Result<String, String> {
    check_text(name)?;
    let components: Vec<&str> = name
        .split('/')
        .filter(|part| !part.is_empty() && *part != ".")
        .collect();
    if components.len() > MAX_DEPTH {
        return Err(format!("is nested more than {MAX_DEPTH} directories deep"));
    }
    for component in &components {
        check_component(component)?;
    }
    if components
        .first()
        .is_some_and(|first| RESERVED.contains(first))
    {
        return Err(
            "has a name that is reserved at the root of the archive\nhint: rename it or move it into a directory"
                .to_owned(),
        );
    }
    Ok(components.join("/"))
}

fn check_text(name: &str) -> Result<(), String> {
    if name.is_empty() {
        return Err("has an empty name".to_owned());
    }
    if name.len() > MAX_NAME {
        return Err(format!(
            "has a name of {} bytes, more than {MAX_NAME}",
            name.len()
        ));
    }
    if name.contains('\0') {
        return Err("has a NUL character in its name".to_owned());
    }
    if name.chars().any(char::is_control) {
        return Err("has a control character in its name".to_owned());
    }
    if name.contains('\\') {
        return Err(
            "has a backslash in its name\nhint: zip names separate directories by `/`".to_owned(),
        );
    }
    if name.starts_with('/') {
        return Err("has an absolute name".to_owned());
    }
    if matches!(name.as_bytes(), [letter, b':', ..] if letter.is_ascii_alphabetic()) {
        return Err("has a drive letter in its name".to_owned());
    }
    Ok(())
}

fn check_component(component: &str) -> Result<(), String> {
    if component == ".." {
        return Err("leads out of the archive by `..`".to_owned());
    }
    if component.len() > MAX_COMPONENT {
        return Err(format!(
            "has a component of {} bytes in its name, more than {MAX_COMPONENT}",
            component.len()
        ));
    }
    Ok(())
}
