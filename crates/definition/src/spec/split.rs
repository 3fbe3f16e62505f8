//! Files of the bundle that are split between the replicas.

use super::declared::Declared;
use super::reader::{Field, Object, Reader};
use super::{Delivery, SplitFile};
use crate::wording::shorten;
use serde_json::Value;
use std::collections::BTreeSet;
use std::sync::LazyLock;

static FILE: LazyLock<Declared> = LazyLock::new(Declared::of::<SplitFile>);

impl Reader<'_> {
    /// Checks the payload itself, so that the fault is reported together with others.
    pub(super) fn check_split(&mut self, delivery: Option<Delivery>, payload: &Value) {
        let has_some = payload["worker"]["split"]
            .as_array()
            .is_some_and(|files| !files.is_empty());
        if has_some && delivery == Some(Delivery::Shared) {
            let why = "needs `delivery: push`; with `shared` all replicas mount the same files";
            self.note("worker.split", why.to_owned());
        }
    }

    /// Parses the list of files. `bundle` is the field that names the bundle, `id` the id of an existing bundle.
    pub(super) fn split(
        &mut self,
        role: &str,
        field: &Field,
        bundle: &Field,
        id: Option<&str>,
    ) -> Option<Vec<SplitFile>> {
        let items = self.list(field, "a list of objects with `path` and `header`")?;
        if role != "worker" && !items.is_empty() {
            let why = "is for the worker only, whose replicas each get a part of the file";
            return self.fault(&field.path, why.to_owned());
        }
        let most = field.max_items();
        if items.len() > most {
            let why = format!("has {} files; expected at most {most}", items.len());
            return self.fault(&field.path, why);
        }
        let before = self.faults.len();
        if !items.is_empty() && bundle.is_empty() {
            let why = "needs `fileid`: only files of the bundle can be split";
            self.note(&field.path, why.to_owned());
        }
        let mut seen = BTreeSet::new();
        let mut files = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let at = field.item(index);
            let Some(file) = self.split_file(&at, item, id) else {
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

    fn split_file(&mut self, at: &str, item: &Value, bundle: Option<&str>) -> Option<SplitFile> {
        let file: Object = self.object(at, item, &FILE)?;
        let path = self.split_path(&file.field("path"), bundle);
        let header = file.field("header");
        let header = match self.boolean(&header) {
            // Required: a header treated as a row would reach one replica only, and a row treated as a header would
            // reach all replicas.
            Some(None) => self.fault(
                &header.path,
                "is missing; expected `true` if the first line of the file names its columns, otherwise `false`"
                    .to_owned(),
            ),
            given => given.flatten(),
        };
        Some(SplitFile {
            path: path?,
            header: header?,
        })
    }

    fn split_path(&mut self, field: &Field, bundle: Option<&str>) -> Option<String> {
        let path = self.required_text(field)?;
        let is_plain = path.split('/').all(|part| !["", ".", ".."].contains(&part));
        if !is_plain {
            let why = format!(
                "`{}` is not a path in the bundle; expected one like `data/users.csv`",
                shorten(&path)
            );
            return self.fault(&field.path, why);
        }
        match bundle {
            Some(id) if !self.surroundings.has_file(id, &path) => {
                let hint = self.surroundings.files_hint(id, &path);
                let why = format!("`{}` is not a file of the bundle; {hint}", shorten(&path));
                self.fault(&field.path, why)
            }
            _ => Some(path),
        }
    }
}
