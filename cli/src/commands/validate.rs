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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::args::Definition;
    use crate::director::Director;
    use crate::out::Out;

    /// Nobody answers at the port of this Director.
    async fn validated(text: &str) -> Exit {
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
        validate(&context, &Validate { definition }).await.unwrap()
    }

    #[tokio::test]
    async fn the_exit_code_says_whether_there_are_faults() {
        let good = "{name: load, master: {alias: m, image: a}, worker: {alias: w, image: b}}";
        assert_eq!(validated(good).await, Exit::Pass);
        assert_eq!(validated("name: load").await, Exit::Usage);
        assert_eq!(validated("name: [").await, Exit::Usage);
    }

    #[test]
    fn what_is_told() {
        assert_eq!(lines("load.yaml", &[]), ["load.yaml: no faults"]);
        let json = serde_json::to_value(Validated {
            file: "load.yaml".into(),
            valid: true,
            faults: Vec::new(),
        });
        let wanted = serde_json::json!({"file": "load.yaml", "valid": true, "faults": []});
        assert_eq!(json.unwrap(), wanted);
    }
}
