//! Allowed images and their required variables.

use super::document::{Located, Section, Value};
use super::error::Origin;
use super::fields;
use atq_task::image::normalise;
use atq_task::spec::most_similar;

/// The allowed images: all, unless the configuration lists some.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Images {
    rules: Option<Vec<ImageRule>>,
}

/// An image in the configuration's list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageRule {
    /// The image reference in the configuration, which is pulled.
    pub image_name: String,
    /// The variables of the image.
    pub variables: Vec<Variable>,
}

/// An environment variable of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Variable {
    /// Name of the variable.
    pub name: String,
    /// Whether a task with this image must set it.
    pub required: bool,
}

/// The image is not in the list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("image `{image}` is not allowed: expected one of {}", quoted(.allowed))]
pub struct ImageNotAllowed {
    /// The requested image.
    pub image: String,
    /// The allowed images; only the most similar one if it is close.
    pub allowed: Vec<String>,
}

impl Images {
    /// Whether the configuration restricts images.
    pub(super) fn restricted(&self) -> bool {
        self.rules.is_some()
    }

    /// The images of the list, in its order; empty if all are allowed.
    pub fn rules(&self) -> &[ImageRule] {
        self.rules.as_deref().unwrap_or_default()
    }

    /// The list's entry for an image; `None` if there is no entry or no list.
    pub(super) fn allowed(&self, image: &str) -> Option<&ImageRule> {
        let wanted = normalise(image);
        let mut rules = self.rules().iter();
        rules.find(|rule| normalise(&rule.image_name) == wanted)
    }

    /// Names of the variables that a task with this image must set.
    ///
    /// # Errors
    /// When the image is not allowed; never when the configuration lists no images.
    pub fn required_variables(&self, image: &str) -> Result<Vec<String>, ImageNotAllowed> {
        if !self.restricted() {
            return Ok(Vec::new());
        }
        let Some(rule) = self.allowed(image) else {
            let names: Vec<&str> = self.rules().iter().map(|r| r.image_name.as_str()).collect();
            let near = most_similar(image, &names).map(|name| vec![name]);
            let allowed = near.unwrap_or(names).into_iter().map(str::to_owned);
            return Err(ImageNotAllowed {
                image: image.to_owned(),
                allowed: allowed.collect(),
            });
        };
        let required = rule.variables.iter().filter(|variable| variable.required);
        Ok(required.map(|variable| variable.name.clone()).collect())
    }

    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let Some(items) = section.list("images") else {
            return Self::default();
        };
        if items.is_empty() {
            let message = "is empty, so that no image is allowed: omit it to allow all";
            section.fault("images", Origin::Missing, message.to_owned());
        }
        let mut images = Self {
            rules: Some(Vec::new()),
        };
        for (index, item) in items.into_iter().enumerate() {
            let line = item.line;
            let Some(rule) = section
                .item("images", index, item)
                .and_then(|mut item| ImageRule::read(&mut item))
            else {
                continue;
            };
            if let Some(earlier) = images.allowed(&rule.image_name) {
                let message = format!("names the same image as `{}`", earlier.image_name);
                section.fault(&format!("images[{index}]"), Origin::Line(line), message);
            }
            images.rules.get_or_insert_default().push(rule);
        }
        images
    }
}

impl ImageRule {
    fn read(item: &mut Section<'_>) -> Option<Self> {
        let image_name = item.required("imageName", fields::word);
        // `args` is an alias of `variables`.
        let mut variables = Vec::new();
        for key in ["variables", "args"] {
            for (index, entry) in item.list(key).unwrap_or_default().into_iter().enumerate() {
                variables.extend(Variable::read(item, key, index, entry));
            }
        }
        item.finish();
        Some(Self {
            image_name: image_name?,
            variables,
        })
    }
}

impl Variable {
    /// `{name, required}`, or just a name for an optional variable.
    fn read(item: &mut Section<'_>, key: &str, index: usize, entry: Located) -> Option<Self> {
        if let Value::Text(name) = entry.value {
            return Some(Self {
                name,
                required: false,
            });
        }
        let mut entry = item.item(key, index, entry)?;
        let name = entry.required("name", fields::word);
        let required = entry.optional("required", fields::boolean).unwrap_or(false);
        entry.finish();
        Some(Self {
            name: name?,
            required,
        })
    }
}

fn quoted(names: &[String]) -> String {
    format!("`{}`", names.join("`, `"))
}
