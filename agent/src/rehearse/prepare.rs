//! Turns document files on a workstation into a checked plan, for `check` and `dry-run`.

use std::path::{Path, PathBuf};

use crate::aws::AwsError;
use crate::aws::live::Aws;
use crate::document::error::{DocumentError, Mistake};
use crate::document::source::{self, Layers, Marker, SIZE_LIMIT};
use crate::document::{BootDocument, include};
use crate::failure::{Explanation, nearest};
use crate::host::environment::{self, absolute};
use crate::host::{FileKind, Files, Stat};
use crate::plan::{Facts, Plan, due};
use crate::rehearse::given::Given;

/// The name of the directory of an image's layers.
const BAKED: &str = "boot.d";

/// The result of reading documents.
pub(crate) struct Prepared {
    pub(crate) plan: Result<Plan, DocumentError>,
    /// Warnings: what the author should know, though it is not a mistake.
    pub(crate) warnings: DocumentError,
    /// Included documents that were not read.
    pub(crate) unread: Vec<String>,
    /// Files among the layers that may have been meant as layers, but are not read.
    pub(crate) passed_over: Vec<String>,
    /// A note that the last document would not be recognized as user data. A layer of an image need not be.
    pub(crate) unmarked: Option<String>,
}

/// Reads documents as layers, in the order given (`-` is standard input), finds their templates, and plans. Included
/// documents are read from `aws`, or left out if it is `None`. The facts that are `given` decide which steps are due; a
/// step that depends on another fact counts as due.
///
/// # Errors
///
/// If an included document could not be read.
pub(crate) async fn plan(documents: &[PathBuf], files: &dyn Files, aws: Option<&Aws>, given: Option<&Given>) -> Result<Prepared, AwsError> {
    let Read { mut layers, unmarked, misspelled } = read(documents, files).await;
    if let ([directory], true, true) = (documents, layers.nodes.is_empty(), layers.mistakes.is_empty()) {
        let message = format!("{} contains no document", directory.display());
        layers.mistakes.push(Mistake::of_a_file(message, Some("name a document, or a directory that contains a `*.yaml` file".into())));
    }
    let passed_over = std::mem::take(&mut layers.passed_over);
    let unread = match aws {
        Some(aws) => {
            include::resolve(&mut layers, &aws.parameters, &*aws.documents).await?;
            Vec::new()
        }
        None => include::set_aside(&mut layers),
    };
    let mut document = BootDocument::of_a_desk(layers);
    if let Some(given) = given {
        // A value that cannot be rendered is reported once the plan is made.
        let _ = due::settle(&mut document, Facts::Given(&given.instance()));
    }
    let mut beside: Vec<PathBuf> = Vec::new();
    for path in documents {
        // A directory stands for all documents in it.
        let path = if is_directory(path, files).await { path.join("*") } else { path.clone() };
        beside.extend(around(&absolute(&path)));
    }
    beside.dedup();
    let templates = source::read_templates(&document.template_paths(), &beside, files).await;
    let (plan, warnings) = Plan::compile_with_advice(document, &templates);
    let warnings = match misspelled {
        Some(mistake) => warnings.with(mistake),
        None => warnings,
    };
    Ok(Prepared { plan, warnings, unread, passed_over, unmarked })
}

/// Documents as layers.
pub(crate) struct Read {
    pub(crate) layers: Layers,
    /// See [`Prepared::unmarked`].
    pub(crate) unmarked: Option<String>,
    /// A mistake if the marker of the last document is misspelled.
    pub(crate) misspelled: Option<Mistake>,
}

/// Reads documents as layers, in the order given.
pub(crate) async fn read(documents: &[PathBuf], files: &dyn Files) -> Read {
    let mut layers = Layers::of_a_desk();
    let (mut unmarked, mut misspelled) = (None, None);
    for (index, path) in documents.iter().enumerate() {
        if is_directory(path, files).await {
            layers.add_directory(path, files).await;
            continue;
        }
        if path.as_os_str() == "-" && documents[..index].contains(path) {
            let message = "standard input is named twice, but can only be read once".to_owned();
            layers.mistakes.push(Mistake::of_a_file(message, Some("name `-` once".into())));
            continue;
        }
        let (name, read) = if path.as_os_str() == "-" {
            ("standard input".to_owned(), environment::standard_input(SIZE_LIMIT).map(|bytes| Some(bytes.into())))
        } else {
            let read = match environment::pipe(path, SIZE_LIMIT) {
                Some(read) => read.map(|bytes| Some(bytes.into())),
                None => files.read(&absolute(path), SIZE_LIMIT).await,
            };
            (path.display().to_string(), read)
        };
        match read {
            Ok(Some(bytes)) => {
                // Of several documents, only the last one can be user data.
                let marker = if path.parent().is_some_and(|parent| parent.ends_with(BAKED)) {
                    layers.add_layer(&name, &bytes);
                    Marker::Found
                } else {
                    layers.add_named(&name, &bytes)
                };
                unmarked =
                    (marker == Marker::Missing).then(|| format!("{name} is a layer: as user data, it must begin with the line `#ingot`"));
                misspelled = if let Marker::Misspelled(mistake) = marker { Some(mistake) } else { None };
            }
            Ok(None) => {
                let hint = match nearest_file(path, files).await {
                    Some(nearest) => format!("write {nearest}"),
                    None => "correct the path".to_owned(),
                };
                layers.mistakes.push(Mistake::of_a_file(format!("{name} does not exist"), Some(hint)));
            }
            Err(error) => {
                let Explanation { message, causes, hint, .. } = Explanation::of(&error);
                layers.mistakes.push(Mistake::of_a_file(std::iter::once(message).chain(causes).collect::<Vec<_>>().join(": "), hint));
            }
        }
    }
    Read { layers, unmarked, misspelled }
}

/// Whether a path names the directory of the layers instead of a document.
async fn is_directory(path: &Path, files: &dyn Files) -> bool {
    matches!(files.stat(&absolute(path)).await, Ok(Some(Stat { kind: FileKind::Directory, .. })))
}

/// The file next to `path` with a nearly equal name.
async fn nearest_file(path: &Path, files: &dyn Files) -> Option<String> {
    let names = files.list(absolute(path).parent()?).await.ok()?;
    let documents = names.iter().filter(|name| name.ends_with(".yaml") || name.ends_with(".yml"));
    let nearest = nearest(path.file_name()?.to_str()?, documents.map(String::as_str))?;
    Some(path.with_file_name(nearest).display().to_string())
}

/// Where `templates/` may be: next to the document or, as in an image, next to the `boot.d/` that contains it.
fn around(document: &Path) -> Vec<PathBuf> {
    let directory = document.parent();
    let above = directory.filter(|directory| directory.ends_with(BAKED)).and_then(Path::parent);
    directory.into_iter().chain(above).map(Path::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::machine::FakeMachine;

    const DOCUMENT: &str = r#"version: 1
values: { on: "{{instance.tags.on}}", web: "{{eq instance.tags.role 'web'}}" }
commands:
  lead: { run: [/bin/lead], when: "{{instance.tags.leader}}" }
  on: { run: [/bin/on], when: "{{values.on}}" }
  tested: { run: [/bin/tested], when: "{{default instance.tags.none 'false'}}" }
bundles: { app: { s3: s3://shop/app.tar, into: /opt/app, when: "{{values.web}}" } }
files: { /etc/a: { content: "{{bundles.app.path}}", when: "{{not (eq instance.tags.role 'jobs')}}" } }
"#;

    /// Which steps are open and which are not due, given these facts.
    async fn decided(facts: &str) -> (Vec<String>, Vec<String>) {
        let machine = FakeMachine::new_instance();
        machine.add_file("/home/boot.yaml", DOCUMENT);
        let given = Given::parse("facts.yaml", facts).unwrap();
        let prepared = plan(&["/home/boot.yaml".into()], &*machine.host().files, None, Some(&given)).await.unwrap();
        let plan = prepared.plan.unwrap_or_else(|error| panic!("{facts}: {error}"));
        let open = plan.open.iter().map(|(address, _)| address.to_string());
        (open.collect(), plan.not_due.iter().map(ToString::to_string).collect())
    }

    /// Regression: the placeholder for a fact was neither true nor false, which was reported as a mistake of the
    /// document; or it was not equal to `web`.
    #[tokio::test]
    async fn what_depends_on_a_fact_that_nobody_gave_is_open() {
        let (open, not_due) = decided("").await;
        assert_eq!(open, ["bundles.app", "commands.lead", "commands.on", "files./etc/a"]);
        assert_eq!(not_due, ["commands.tested"]);
        let (open, not_due) = decided("instance: { tags: { role: web, on: false } }").await;
        assert_eq!((open, not_due), (vec!["commands.lead".to_owned()], vec!["commands.on".to_owned(), "commands.tested".to_owned()]));
    }
}
