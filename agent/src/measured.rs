//! The pure parts of a boot, individually, for `benches/`. Nothing else calls these, so the
//! linker leaves them out of the program.

use serde_json::Value;

use crate::document::BootDocument;
use crate::document::source::Layers;
use crate::plan::Plan;
use crate::template::{Scope, Template};

/// Parsed layers.
#[derive(Debug, Clone)]
pub struct Parsed(Layers);

/// A merged document: its layers merged, and its steps read.
#[derive(Debug)]
pub struct Merged(BootDocument);

/// A planned document.
#[derive(Debug)]
pub struct Planned(Plan);

/// A compiled template, and the scope that it sees.
#[derive(Debug)]
pub struct Compiled(Template, Scope);

/// Parses layers.
pub fn parse(layers: &[String]) -> Parsed {
    let mut parsed = Layers::default();
    layers.iter().enumerate().for_each(|(number, text)| parsed.add(&format!("{number}.yaml"), text));
    Parsed(parsed)
}

impl Parsed {
    /// Merges the layers, and reads the steps.
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
    /// The number of steps.
    pub fn steps(&self) -> usize {
        self.0.nodes.len()
    }
}

/// Compiles a template.
///
/// # Panics
///
/// If the template has a mistake.
pub fn compile(template: &str, scope: &Value) -> Compiled {
    let template = Template::parse(template).expect("a template that is measured has no mistakes");
    Compiled(template, Scope::from(scope.clone()))
}

impl Compiled {
    /// Renders the template. Returns the length of the text in bytes.
    ///
    /// # Panics
    ///
    /// If the template refers to something that does not exist.
    pub fn render(&self) -> usize {
        self.0.render(&self.1).expect("all that it names is there").expose().len()
    }
}
