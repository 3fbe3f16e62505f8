//! `atq validate`.

use crate::Context;
use crate::args::Validate;
use crate::definition::{self, PlacedFault};
use crate::exit::Exit;
use crate::trouble::Trouble;
use serde::Serialize;

/// What `--json` says.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Validated {
    /// The file, as it was given.
    file: String,
    /// Whether there are no faults.
    valid: bool,
    /// All faults.
    faults: Vec<PlacedFault>,
}

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn validate(context: &Context, args: &Validate) -> Result<Exit, Trouble> {
    let (file, faults) = definition::check(&args.definition)?;
    for line in lines(&file, &faults) {
        context.out.line(line);
    }
    let valid = faults.is_empty();
    context.out.result(&Validated {
        file,
        valid,
        faults,
    });
    Ok(if valid { Exit::Pass } else { Exit::Usage })
}

fn lines(file: &str, faults: &[PlacedFault]) -> Vec<String> {
    match faults {
        [] => vec![format!("{file}: no faults")],
        faults => faults.iter().map(|fault| fault.told(file)).collect(),
    }
}
