//! From document files on a dev box to a checked plan: what `check` and `dry-run` have in common.

use std::path::{Path, PathBuf};

use crate::aws::AwsError;
use crate::aws::live::Aws;
use crate::document::error::{DocumentError, Mistake};
use crate::document::source::{self, Layers, SIZE_LIMIT};
use crate::document::{BootDocument, include};
use crate::failure::Explanation;
use crate::host::Files;
use crate::host::environment::absolute;
use crate::plan::{self, Plan};

/// What came of documents.
pub(crate) struct Prepared {
    pub(crate) plan: Result<Plan, DocumentError>,
    /// What the author should know, though it is no mistake.
    pub(crate) warnings: DocumentError,
    /// Documents that are included, and were not read.
    pub(crate) unread: Vec<String>,
}

/// Reads documents as layers, in the order given, finds their templates, and plans. What they include is read from `aws`,
/// or left out where there is none.
///
/// # Errors
///
/// If a document that is included could not be read.
pub(crate) async fn plan(documents: &[PathBuf], files: &dyn Files, aws: Option<&Aws>) -> Result<Prepared, AwsError> {
    let mut layers = Layers::default();
    for path in documents {
        match files.read(&absolute(path), SIZE_LIMIT).await {
            Ok(Some(bytes)) => layers.add_named(&path.display().to_string(), &bytes),
            Ok(None) => {
                let message = format!("there is no document {}", path.display());
                layers.mistakes.push(Mistake::of_a_file(message, Some("correct the path".into())));
            }
            Err(error) => {
                let Explanation { message, causes, hint, .. } = Explanation::of(&error);
                layers.mistakes.push(Mistake::of_a_file(std::iter::once(message).chain(causes).collect::<Vec<_>>().join(": "), hint));
            }
        }
    }
    let unread = match aws {
        Some(aws) => {
            include::resolve(&mut layers, &aws.parameters, &*aws.documents).await?;
            Vec::new()
        }
        None => include::set_aside(&mut layers),
    };
    let document = BootDocument::of(layers);
    let mut beside: Vec<PathBuf> = documents.iter().flat_map(|path| around(&absolute(path))).collect();
    beside.dedup();
    let templates = source::read_templates(&document.template_paths(), &beside, files).await;
    let (warnings, sources) = plan::advice(&document, &templates);
    let warnings = DocumentError::warnings(warnings, sources);
    Ok(Prepared { plan: Plan::compile(document, &templates), warnings, unread })
}

/// Where `templates/` may stand: beside the document or, as in an image, beside the `boot.d/` that it lies in.
fn around(document: &Path) -> Vec<PathBuf> {
    let directory = document.parent();
    let above = directory.filter(|directory| directory.ends_with("boot.d")).and_then(Path::parent);
    directory.into_iter().chain(above).map(Path::to_owned).collect()
}
