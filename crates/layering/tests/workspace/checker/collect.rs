//! Parses a file: its modules, and the paths and words in them. Test code is skipped.

use super::Segments;
use super::code::{Mention, Module, Word};
use proc_macro2::{Ident, Span, TokenStream, TokenTree};
use std::path::PathBuf;
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{
    Attribute, ImplItem, Item, ItemMod, ItemUse, Lit, LitStr, Meta, Token, UseTree, VisRestricted,
};

/// Features enabled only by tests of other crates.
const TEST_FEATURES: &[&str] = &["examples", "model", "raw", "testing"];

/// The content of a file.
#[derive(Default)]
pub(crate) struct Collected {
    /// The module of the file itself, followed by its inline modules.
    pub(crate) modules: Vec<(Segments, Module)>,
    /// Modules with a file of their own.
    pub(crate) children: Vec<Segments>,
}

/// Parses the file of the module `path`.
pub(crate) fn collect(
    root: &[String],
    path: &[String],
    file: PathBuf,
    code: &syn::File,
) -> Collected {
    let mut collector = Collector {
        root: root.to_vec(),
        path: path.to_vec(),
        module: Module::new(root.to_vec(), file),
        found: Collected::default(),
    };
    collector.visit_file(code);
    let Collector {
        path,
        module,
        mut found,
        ..
    } = collector;
    found.modules.insert(0, (path, module));
    found
}

struct Collector {
    root: Segments,
    path: Segments,
    module: Module,
    found: Collected,
}

impl Collector {
    fn mention(&mut self, path: Segments, at: Span) {
        let line = at.start().line;
        self.module.mentions.push(Mention { path, line });
    }

    fn word(&mut self, text: String, at: Span, is_text: bool) {
        let line = at.start().line;
        self.module.words.push(Word {
            text,
            line,
            is_text,
        });
    }

    /// Paths and words of unparsed tokens: the arguments of macros.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<Ident> = Vec::new();
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Ident(ident) => {
                    self.word(ident.to_string(), ident.span(), false);
                    if colons != 2 {
                        self.end_path(&mut path);
                    }
                    path.push(ident);
                    colons = 0;
                }
                TokenTree::Punct(punct) if punct.as_char() == ':' => colons += 1,
                other => {
                    self.end_path(&mut path);
                    colons = 0;
                    self.token(other);
                }
            }
        }
        self.end_path(&mut path);
    }

    fn token(&mut self, token: TokenTree) {
        match token {
            TokenTree::Group(group) => self.tokens(group.stream()),
            TokenTree::Literal(literal) => {
                if let Lit::Str(text) = Lit::new(literal) {
                    self.visit_lit_str(&text);
                }
            }
            TokenTree::Ident(_) | TokenTree::Punct(_) => {}
        }
    }

    fn end_path(&mut self, path: &mut Vec<Ident>) {
        if path.len() > 1 {
            self.mention(path.iter().map(Ident::to_string).collect(), path[0].span());
        }
        path.clear();
    }

    /// Each leaf of a `use` tree: the imported path, and its local name.
    fn imports(&mut self, before: &[String], tree: &UseTree) {
        let with = |ident: &Ident| [before, &[ident.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.imports(&with(&path.ident), &path.tree),
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.imports(before, tree);
                }
            }
            UseTree::Glob(glob) => self.mention(before.to_vec(), glob.star_token.spans[0]),
            UseTree::Name(name) if name.ident == "self" => {
                self.import(before.to_vec(), before.last().cloned(), name.ident.span());
            }
            UseTree::Name(name) => {
                let bound = name.ident.to_string();
                self.import(with(&name.ident), Some(bound), name.ident.span());
            }
            UseTree::Rename(rename) => {
                let path = if rename.ident == "self" {
                    before.to_vec()
                } else {
                    with(&rename.ident)
                };
                let bound = rename.rename.to_string();
                self.import(path, Some(bound), rename.ident.span());
            }
        }
    }

    fn import(&mut self, path: Segments, name: Option<String>, at: Span) {
        if let Some(name) = name {
            self.module.names.insert(name, path.clone());
        }
        self.mention(path, at);
    }

    fn inline(&mut self, item: &ItemMod, name: String) {
        let inner = Module::new(self.root.clone(), self.module.file.clone());
        let outer = std::mem::replace(&mut self.module, inner);
        self.path.push(name);
        visit::visit_item_mod(self, item);
        let inner = std::mem::replace(&mut self.module, outer);
        self.found.modules.push((self.path.clone(), inner));
        self.path.pop();
    }
}

impl<'ast> Visit<'ast> for Collector {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_for_tests(attributes(item)) {
            visit::visit_item(self, item);
        }
    }

    fn visit_impl_item(&mut self, item: &'ast ImplItem) {
        let attributes = match item {
            ImplItem::Const(item) => &item.attrs,
            ImplItem::Fn(item) => &item.attrs,
            ImplItem::Type(item) => &item.attrs,
            _ => return visit::visit_impl_item(self, item),
        };
        if !is_for_tests(attributes) {
            visit::visit_impl_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        let name = item.ident.to_string();
        if item.content.is_some() {
            self.inline(item, name);
        } else {
            visit::visit_item_mod(self, item);
            self.found.children.push([&self.path[..], &[name]].concat());
        }
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.imports(&[], &item.tree);
        visit::visit_item_use(self, item);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        if path.segments.len() > 1 {
            let segments = path.segments.iter();
            let written = segments.map(|segment| segment.ident.to_string()).collect();
            self.mention(written, path.segments[0].ident.span());
        }
        visit::visit_path(self, path);
    }

    /// `pub(in a::b)` is not an import.
    fn visit_vis_restricted(&mut self, _: &'ast VisRestricted) {}

    fn visit_ident(&mut self, ident: &'ast Ident) {
        self.word(ident.to_string(), ident.span(), false);
    }

    fn visit_lit_str(&mut self, text: &LitStr) {
        self.word(text.value(), text.span(), true);
    }

    fn visit_token_stream(&mut self, tokens: &'ast TokenStream) {
        self.tokens(tokens.clone());
    }

    /// Comments are attributes as well.
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        if !attribute.path().is_ident("doc") {
            visit::visit_attribute(self, attribute);
        }
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::ExternCrate(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes
        .iter()
        .filter(|attribute| attribute.path().is_ident("cfg"))
        .any(|attribute| attribute.parse_args().is_ok_and(|cfg| !is_built(&cfg)))
}

/// True if a condition holds outside of test builds.
fn is_built(cfg: &Meta) -> bool {
    match cfg {
        Meta::Path(path) => !path.is_ident("test"),
        Meta::NameValue(pair) => !TEST_FEATURES
            .iter()
            .any(|feature| is_text(&pair.value, feature)),
        Meta::List(list) => {
            let parts = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated);
            let parts = parts.unwrap_or_default();
            if list.path.is_ident("any") {
                parts.iter().any(is_built)
            } else if list.path.is_ident("not") {
                !parts.iter().any(is_built)
            } else {
                parts.iter().all(is_built)
            }
        }
    }
}

fn is_text(value: &syn::Expr, wanted: &str) -> bool {
    matches!(value, syn::Expr::Lit(literal)
        if matches!(&literal.lit, Lit::Str(text) if text.value() == wanted))
}
