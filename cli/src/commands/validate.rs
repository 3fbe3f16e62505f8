//! `atq validate`.

use crate::args::Validate;
use crate::bundle;
use crate::context::Context;
use crate::definition::{self, Checked, PlacedFault};
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
    /// What is no fault, and most likely not meant.
    warnings: Vec<String>,
}

/// Does it.
///
/// # Errors
/// What went wrong.
pub async fn validate(context: &Context, args: &Validate) -> Result<Exit, Trouble> {
    if let Some(bundle) = &args.bundle {
        bundle::may_use(bundle)?;
    }
    let Checked {
        file,
        faults,
        warnings,
        takes_bundle,
    } = definition::check(&args.definition, args.bundle.is_some())?;
    if let Some(bundle) = args
        .bundle
        .as_deref()
        .filter(|_| faults.is_empty() && !takes_bundle)
    {
        return Err(bundle::no_place(bundle));
    }
    for warning in &warnings {
        context.out.progress(format!("warning: {warning}"));
    }
    for line in lines(&file, &faults) {
        context.out.line(line);
    }
    let valid = faults.is_empty();
    context.out.result(&Validated {
        file,
        valid,
        faults,
        warnings,
    });
    Ok(if valid { Exit::Pass } else { Exit::Usage })
}

fn lines(file: &str, faults: &[PlacedFault]) -> Vec<String> {
    match faults {
        [] => vec![format!("{file}: no faults")],
        faults => faults.iter().map(|fault| fault.told(file)).collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::args::Definition;
    use crate::director::Director;
    use crate::out::Out;

    /// Nobody answers at the port of this Director.
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
    async fn the_exit_code_says_whether_there_are_faults() {
        let good = "{name: load, master: {alias: m, image: a}, worker: {alias: w, image: b}}";
        assert_eq!(validated(good, false).await, Exit::Pass);
        assert_eq!(validated("name: load", false).await, Exit::Usage);
        assert_eq!(validated("name: [", false).await, Exit::Usage);
    }

    #[tokio::test]
    async fn what_runs_with_a_bundle_is_valid_with_a_bundle() {
        let split = "{name: load, master: {alias: m, image: a}, worker: {alias: w, image: b, split: [{path: a.csv, header: true}]}}";
        assert_eq!(validated(split, true).await, Exit::Pass);
        assert_eq!(validated(split, false).await, Exit::Usage);
        assert_eq!(validated("name: load", true).await, Exit::Usage);
    }

    #[test]
    fn what_is_told() {
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
