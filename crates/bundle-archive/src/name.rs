//! Which names of entries may become paths.
//!
//! The rules are stricter than unpacking needs: a name that other tools would bend into shape (`../`, `C:\`, a leading
//! slash) is refused, because its author meant another place than the one it would land in.

/// The file at the root of a delivered bundle that says that it is whole.
pub const MARKER: &str = ".atq-bundle";
/// The file at the root of a delivered bundle by whose lock carriers take turns.
pub const LOCK: &str = ".atq-lock";
const KEPT: [&str; 2] = [MARKER, LOCK];
/// Longest component that Linux file systems take, in bytes.
const MAX_COMPONENT: usize = 255;
/// Longest path that Linux takes, in bytes.
const MAX_NAME: usize = 4096;
/// Deeper trees have no use in a bundle and make every walk over them expensive.
const MAX_DEPTH: usize = 100;

/// Turns the raw name of an entry into a relative path of plain components joined by `/`, without a slash at its
/// end. The path is empty when the name means the root itself (`./`).
///
/// # Errors
/// A sentence without its subject, which is the name.
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
    if components.first().is_some_and(|first| KEPT.contains(first)) {
        return Err(
            "lies at the root of the archive under a name that is kept for the delivery to the nodes\nhint: give it another name, or put it into a directory"
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
