//! `atq validate`.

use crate::args::Validate;
use crate::bundle;
use crate::context::Context;
use crate::definition::{self, Checked, PlacedFault};
use crate::error::CliError;
use crate::exit::Exit;
use serde::Serialize;

/// The `--json` document.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Validated {
    /// The file, as given.
    file: String,
    /// Whether there are no faults.
    valid: bool,
    /// All faults.
    faults: Vec<PlacedFault>,
    /// Probable mistakes that are not faults.
    warnings: Vec<String>,
}

/// Validates a definition and prints its faults.
///
/// # Errors
/// When the definition or the bundle cannot be read.
pub async fn validate(context: &Context, args: &Validate) -> Result<Exit, CliError> {
    let bundle = args.bundle.as_deref().map(bundle::files).transpose()?;
    let Checked {
        file,
        faults,
        warnings,
        takes_bundle,
    } = definition::check(&args.definition, bundle.as_ref())?;
    if let Some(bundle) = args
        .bundle
        .as_deref()
        .filter(|_| faults.is_empty() && !takes_bundle)
    {
        return Err(bundle::unused_bundle(bundle));
    }
    for warning in &warnings {
        context.out.progress(format!("warning: {warning}"));
    }
    let validated = Validated {
        valid: faults.is_empty(),
        file,
        faults,
        warnings,
    };
    let lines = lines(&validated.file, &validated.faults);
    context.out.show(lines, &validated);
    Ok(match validated.valid {
        true => Exit::Pass,
        false => Exit::Usage,
    })
}

fn lines(file: &str, faults: &[PlacedFault]) -> Vec<String> {
    match faults {
        [] => vec![format!("{file}: no faults")],
        faults => faults.iter().map(|fault| fault.line(file)).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::args::Definition;
    use crate::director::Director;
    use crate::out::Out;

    /// Validates with an unreachable Director.
    async fn validated(text: &str, bundled: bool) -> Exit {
        let dir = tempfile::tempdir().unwrap();
        let task = dir.path().join("load.yaml");
        std::fs::write(&task, text).unwrap();
        let definition = Definition {
            task,
            ..Definition::default()
        };
        let context = Context {
            director: Director::at("http://127.0.0.1:1").unwrap(),
            out: Out::new(false),
        };
        let args = Validate {
            definition,
            bundle: bundled.then(|| dir.path().to_owned()),
        };
        validate(&context, &args).await.unwrap()
    }

    #[tokio::test]
    async fn faults_set_the_exit_code() {
        let good = "{name: load, master: {alias: m, image: a}, worker: {alias: w, image: b}}";
        assert_eq!(validated(good, false).await, Exit::Pass);
        assert_eq!(validated("name: load", false).await, Exit::Usage);
        assert_eq!(validated("name: [", false).await, Exit::Usage);
    }

    const SPLIT: &str = "{name: load, master: {alias: m, image: a}, worker: {alias: w, image: b, split: [{path: load.yaml, header: true}]}}";

    #[tokio::test]
    async fn a_bundle_makes_a_missing_fileid_valid() {
        assert_eq!(validated(SPLIT, true).await, Exit::Pass);
        assert_eq!(validated(SPLIT, false).await, Exit::Usage);
        assert_eq!(validated("name: load", true).await, Exit::Usage);
    }

    #[tokio::test]
    async fn a_split_file_that_is_not_in_the_bundle_is_a_fault() {
        let split = SPLIT.replace("load.yaml", "load.csv");
        assert_eq!(validated(&split, true).await, Exit::Usage);
    }

    #[test]
    fn the_output_for_a_valid_definition() {
        assert_eq!(lines("load.yaml", &[]), ["load.yaml: no faults"]);
        let json = serde_json::to_value(Validated {
            file: "load.yaml".into(),
            valid: true,
            faults: Vec::new(),
            warnings: Vec::new(),
        });
        let wanted =
            serde_json::json!({"file": "load.yaml", "valid": true, "faults": [], "warnings": []});
        assert_eq!(json.unwrap(), wanted);
    }
}
