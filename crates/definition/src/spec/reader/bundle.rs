//! How bundles come to the containers, and who these run as.

use super::Reader;
use super::value::{nearest, shorten, wrong_type};
use crate::spec::{Delivery, SplitFile};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

const DELIVERIES: [&str; 2] = ["push", "shared"];
const SPLIT_FIELDS: [&str; 2] = ["path", "header"];
/// Most files of a bundle that are dealt out.
const MAX_SPLIT: usize = 100;
/// Longest name of a user.
const MAX_USER: usize = 100;

impl Reader<'_> {
    pub(super) fn delivery(&mut self, value: Option<&Value>) -> Option<Delivery> {
        match value {
            None | Some(Value::Null) => Some(self.around.delivery()),
            Some(Value::String(word)) if word == "push" => Some(Delivery::Push),
            Some(Value::String(word)) if word == "shared" => Some(Delivery::Shared),
            Some(Value::String(word)) => {
                let why = format!("is `{}`; {}", shorten(word), nearest(word, &DELIVERIES));
                self.fault("delivery", why)
            }
            Some(other) => self.fault("delivery", wrong_type(other, "a string")),
        }
    }

    /// Looks at the payload itself, so that it is told beside the other faults.
    pub(super) fn check_split(&mut self, delivery: Option<Delivery>, fields: &Map<String, Value>) {
        let split = fields.get("worker").and_then(|worker| worker.get("split"));
        let has_some = split
            .and_then(Value::as_array)
            .is_some_and(|files| !files.is_empty());
        if has_some && delivery == Some(Delivery::Shared) {
            let why = "needs `delivery: push`; with `shared` all replicas mount the same files";
            self.note("worker.split", why.to_owned());
        }
    }

    pub(super) fn split(
        &mut self,
        role: &str,
        fields: &Map<String, Value>,
        fileid: Option<&str>,
    ) -> Option<Vec<SplitFile>> {
        let field = format!("{role}.split");
        let items = match fields.get("split") {
            None | Some(Value::Null) => return Some(Vec::new()),
            Some(Value::Array(items)) => items,
            Some(other) => {
                let expected = "a list of objects with `path` and `header`";
                return self.fault(&field, wrong_type(other, expected));
            }
        };
        if role != "worker" && !items.is_empty() {
            let why = "is for the worker only, whose replicas each get a part of the file";
            return self.fault(&field, why.to_owned());
        }
        if items.len() > MAX_SPLIT {
            let why = format!("has {} files; expected at most {MAX_SPLIT}", items.len());
            return self.fault(&field, why);
        }
        let before = self.faults.len();
        if !items.is_empty() && fields.get("fileid").is_none_or(is_nothing) {
            let why = "needs `fileid`: the files that are dealt out are those of the bundle";
            self.note(&field, why.to_owned());
        }
        let mut seen = BTreeSet::new();
        let mut files = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let at = format!("{field}[{index}]");
            let Some(file) = self.split_file(&at, item, fileid) else {
                continue;
            };
            if !seen.insert(file.path.clone()) {
                let why = format!("names `{}` twice", shorten(&file.path));
                self.note(&format!("{at}.path"), why);
            }
            files.push(file);
        }
        files.sort();
        (self.faults.len() == before).then_some(files)
    }

    fn split_file(&mut self, at: &str, item: &Value, fileid: Option<&str>) -> Option<SplitFile> {
        let fields = self.object(at, item, &SPLIT_FIELDS)?;
        let path = self.split_path(&format!("{at}.path"), fields.get("path"), fileid);
        let header = match fields.get("header") {
            Some(Value::Bool(header)) => Some(*header),
            // Neither is a safe guess: a header that is taken for a row goes to one replica only, and a
            // row that is taken for a header goes to all.
            None | Some(Value::Null) => self.fault(
                &format!("{at}.header"),
                "is missing; say `true` if the first line of the file names its columns, else `false`"
                    .to_owned(),
            ),
            Some(other) => {
                let expected = "true or false";
                self.fault(&format!("{at}.header"), wrong_type(other, expected))
            }
        };
        Some(SplitFile {
            path: path?,
            header: header?,
        })
    }

    fn split_path(
        &mut self,
        field: &str,
        value: Option<&Value>,
        fileid: Option<&str>,
    ) -> Option<String> {
        let path = self.required_text(field, value)?;
        let is_plain = path.split('/').all(|part| !["", ".", ".."].contains(&part));
        if !is_plain {
            let why = format!(
                "`{}` is not a path in the bundle; expected one like `data/users.csv`",
                shorten(&path)
            );
            return self.fault(field, why);
        }
        match fileid {
            Some(id) if !self.around.has_file(id, &path) => {
                let why = format!(
                    "`{}` is not a file of the bundle; GET /databind/{id} names its files",
                    shorten(&path)
                );
                self.fault(field, why)
            }
            _ => Some(path),
        }
    }

    pub(super) fn user(&mut self, field: &str, value: Option<&Value>) -> Option<Option<String>> {
        let Some(value) = value.filter(|value| !value.is_null()) else {
            return Some(None);
        };
        let user = self.text(field, Some(value))?;
        let visible = |c: char| !c.is_whitespace() && !c.is_control();
        let parts: Vec<&str> = user.split(':').collect();
        let fits = parts.len() <= 2
            && parts.iter().all(|part| !part.is_empty())
            && user.chars().all(visible)
            && user.len() <= MAX_USER;
        match fits {
            true => Some(Some(user)),
            false => {
                let why = format!(
                    "`{}` is not a user; expected one like `root`, `1000` or `1000:1000`",
                    shorten(&user)
                );
                self.fault(field, why)
            }
        }
    }
}

fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_str() == Some("")
}
