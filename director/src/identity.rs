//! Which Director this is. Everything that it creates in Docker carries the id, so that two
//! Directors on one Swarm never remove each other's objects.

use anyhow::Context;
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::Path;

/// The configured id, or the one in `datadir/director-id`, which is generated at the first start.
///
/// # Errors
/// When the file cannot be read or written.
pub fn director_id(datadir: &Path, configured: Option<&str>) -> anyhow::Result<String> {
    if let Some(id) = configured {
        return Ok(id.to_owned());
    }
    let path = datadir.join("director-id");
    match fs::read_to_string(&path) {
        Ok(id) if !id.trim().is_empty() => Ok(id.trim().to_owned()),
        Ok(_) => generate(&path),
        Err(error) if error.kind() == ErrorKind::NotFound => generate(&path),
        Err(error) => Err(error).with_context(|| format!("cannot read `{}`", path.display())),
    }
}

fn generate(path: &Path) -> anyhow::Result<String> {
    let id = uuid::Uuid::new_v4().simple().to_string()[..12].to_owned();
    // Objects in Docker are found by it after a crash, so it must be on the disk first.
    let write = || {
        let mut file = fs::File::create(path)?;
        writeln!(file, "{id}")?;
        file.sync_all()
    };
    write().with_context(|| format!("cannot write `{}`", path.display()))?;
    Ok(id)
}
