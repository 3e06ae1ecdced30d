//! The pure parts of a boot, each by itself, for `benches/`. Nothing else calls these: the linker leaves them out of the
//! program.

use serde_json::Value;

use crate::document::BootDocument;
use crate::document::source::Layers;
use crate::plan::Plan;
use crate::template::{Scope, Template};

/// Layers, parsed.
#[derive(Debug, Clone)]
pub struct Parsed(Layers);

/// A document: layers merged, and read as steps.
#[derive(Debug)]
pub struct Merged(BootDocument);

/// A document, planned.
#[derive(Debug)]
pub struct Planned(Plan);

/// A template, compiled, and what it may see.
#[derive(Debug)]
pub struct Compiled(Template, Scope);

/// Parses layers.
pub fn parse(layers: &[String]) -> Parsed {
    let mut parsed = Layers::default();
    layers.iter().enumerate().for_each(|(number, text)| parsed.add(&format!("{number}.yaml"), text));
    Parsed(parsed)
}

impl Parsed {
    /// Merges them, and reads the steps.
    pub fn merge(self) -> Merged {
        Merged(BootDocument::of(self.0))
    }
}

impl Merged {
    /// Compiles the plan.
    ///
    /// # Panics
    ///
    /// If the document has mistakes.
    pub fn plan(self) -> Planned {
        Planned(Plan::compile(self.0, &Default::default()).expect("a document that is measured has no mistakes"))
    }
}

impl Planned {
    /// How many steps there are.
    pub fn steps(&self) -> usize {
        self.0.nodes.len()
    }
}

/// Compiles a template.
///
/// # Panics
///
/// If it has a mistake.
pub fn compile(template: &str, scope: &Value) -> Compiled {
    let template = Template::parse(template).expect("a template that is measured has no mistakes");
    Compiled(template, Scope::from(scope.clone()))
}

impl Compiled {
    /// Fills it in. How long the text is.
    ///
    /// # Panics
    ///
    /// If it names what is not there.
    pub fn render(&self) -> usize {
        self.0.render(&self.1).expect("all that it names is there").expose().len()
    }
}
