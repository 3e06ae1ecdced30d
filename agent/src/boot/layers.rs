//! Stage 2: read the layers of the document, from the image and from user data.

use std::cell::OnceCell;
use std::convert::Infallible;
use std::path::Path;
use std::time::Duration;

use futures_util::join;
use tokio::task::yield_now;

use crate::aws::Identity;
use crate::boot::request::UserData;
use crate::boot::state::Boot;
use crate::boot::stop::Stop;
use crate::document::source::{LAYERS, Layers, SIZE_LIMIT};
use crate::execute::write_report;
use crate::failure::Explanation;
use crate::host::state::STATE;
use crate::host::{HostError, blocking, environment};
use crate::report::{BootOutcome, Report};
use crate::step::Phase;

/// How often the boot reports that it waits for the metadata service. A service that answers at
/// once is never mentioned.
const WATCH_EVERY: Duration = Duration::from_secs(2);

impl Boot {
    /// Reads the layers and the documents they include. Also returns the instance's identity, if it was read on the
    /// way. `earlier` is the report of a boot that may have been the same one.
    pub(super) async fn read_layers(&self, earlier: Option<Report>) -> Result<(Layers, Option<Identity>), Stop> {
        let user_data = &self.request.user_data;
        let (mut layers, mut identity) = match user_data {
            UserData::Metadata => {
                let (layers, identity) = self.layers_of_instance().await?;
                (layers, Some(identity))
            }
            UserData::Nothing => (self.baked().await, None),
            UserData::File { named, path } => (self.layers_with_file(named, path).await?, None),
            UserData::StandardInput(read) => (self.layers_with_standard_input(read).await?, None),
        };
        self.recorder.phase("user_data");
        // Before each long computation, let the answers of IMDS that have arrived be handled: the
        // credentials depend on them.
        yield_now().await;
        self.keep_signals(&layers);
        if self.include(&mut layers).await? {
            self.recorder.phase("include");
            self.keep_signals(&layers);
        }
        if layers.nodes.is_empty() && layers.mistakes.is_empty() {
            self.note(&format!("no boot document: {LAYERS} has no layers, and neither has --user-data {user_data}"));
            self.recorder.amend(|report| report.undocumented = true);
            if let Some(asked) = &self.request.release {
                let message = format!("{} cannot be booted: this instance has no boot document", asked.wanted);
                return Err(Stop::Failed(Explanation::new(message, Some("launch the instance with a boot document".into()))));
            }
            return Ok((layers, identity));
        }
        self.needs_disk(STATE);
        self.add_release(&mut layers, &mut identity).await?;
        self.has_it();
        let digest = layers.digest();
        // A boot of only some steps is not a boot of the document.
        self.recorder.amend(|report| report.document = self.request.is_whole().then(|| digest.clone()));
        if earlier.is_some_and(|earlier| is_same_boot(&earlier, &digest, &self.recorder.report().boot_id)) {
            self.remember_request().await;
            return Err(Stop::AlreadyDone);
        }
        Ok((layers, identity))
    }

    /// Reads the layers of the image.
    async fn baked(&self) -> Layers {
        let mut layers = Layers::default();
        self.needs_disk(&self.request.layers.as_ref().map_or(LAYERS.into(), |directory| directory.to_string_lossy()));
        match &self.request.layers {
            None => layers.add_directory(Path::new(LAYERS), &*self.ground.host.files).await,
            Some(directory) => layers.add_named_directory(directory, &*self.ground.outside).await,
        }
        self.has_it();
        layers.passed_over.iter().for_each(|passed_over| self.note(passed_over));
        layers
    }

    /// Reads the layers of the image, and the user data of the instance as the layer on top.
    async fn layers_of_instance(&self) -> Result<(Layers, Identity), Stop> {
        let cloud = self.cloud();
        cloud.prefetch_credentials();
        // Fetching credentials takes the most requests in a row, so it starts first and gets the
        // token and its connection first.
        yield_now().await;
        let asked = async { join!(cloud.metadata().user_data(), cloud.metadata().identity(), self.baked()) };
        let (user_data, identity, mut layers) = tokio::select! {
            biased;
            answers = asked => answers,
            never = self.watch() => match never {},
        };
        self.recorder.amend(|report| report.waiting = None);
        let identity = identity?;
        let what = match user_data? {
            Some(bytes) => layers.add_user_data(&bytes),
            None => Some("absent"),
        };
        if let Some(what) = what {
            self.note(&format!("user data is {what}: the document consists of the image's layers alone"));
        }
        Ok((layers, identity))
    }

    async fn layers_with_file(&self, named: &str, path: &Path) -> Result<Layers, Stop> {
        let mut layers = self.baked().await;
        self.waiting.replace(Some((format!("for the disk that holds {}", path.display()), false)));
        let found = self.ground.outside.read(path, SIZE_LIMIT).await?;
        self.waiting.take();
        let bytes =
            found.ok_or_else(|| Stop::Refused(format!("{} does not exist\n  hint: correct the path of --user-data", path.display())))?;
        layers.add_named(named, &bytes);
        Ok(layers)
    }

    async fn layers_with_standard_input(&self, read: &OnceCell<Vec<u8>>) -> Result<Layers, Stop> {
        let mut layers = self.baked().await;
        self.waiting.replace(Some(("for the end of standard input".into(), false)));
        layers.add_named("standard input", standard_input(read).await?);
        self.waiting.take();
        Ok(layers)
    }

    /// The user data alone, for a boot that ends before it could read the layers of the image: signals are most often
    /// declared there. `None` if there are no signals in it.
    pub(super) async fn user_data_alone(&self) -> Option<Layers> {
        let mut layers = Layers::default();
        match &self.request.user_data {
            UserData::Metadata => {
                layers.add_user_data(&self.cloud.get()?.metadata().user_data().await.ok()??);
            }
            UserData::Nothing => {}
            UserData::File { named, path } => {
                layers.add_named(named, &self.ground.outside.read(path, SIZE_LIMIT).await.ok()??);
            }
            UserData::StandardInput(read) => {
                layers.add_named("standard input", standard_input(read).await.ok()?);
            }
        }
        self.keep_signals(&layers);
        self.layers.take()
    }

    /// Reports repeatedly what the boot waits for from the metadata service. Never returns.
    async fn watch(&self) -> Infallible {
        loop {
            self.clock().sleep(WATCH_EVERY).await;
            if let Some(reason) = self.cloud().waiting() {
                log::info!("waiting {reason}");
                self.audience.say(&format!("waiting {reason}"));
                self.recorder.amend(|report| report.waiting = Some(reason));
            }
            // For `ingot status`. If the report cannot be written, the end of the boot says so.
            if self.lock.borrow().is_some() {
                let _ = write_report(&self.ground.host, &self.recorder).await;
            }
        }
    }
}

/// The content of standard input, which is read only once.
async fn standard_input(read: &OnceCell<Vec<u8>>) -> Result<&[u8], HostError> {
    if read.get().is_none() {
        // On its own thread, because the writer may be slow, and the deadline and SIGTERM must still take effect.
        let bytes = blocking::work("read", Path::new("standard input"), || environment::standard_input(SIZE_LIMIT)).await?;
        read.get_or_init(|| bytes);
    }
    Ok(read.get().map(Vec::as_slice).unwrap_or_default())
}

/// Whether an earlier boot had the same document and succeeded.
fn is_same_boot(earlier: &Report, digest: &str, boot_id: &str) -> bool {
    // The warm phase runs only a part of the document.
    let whole = earlier.phase != Some(Phase::Warm);
    let same = whole && earlier.document.as_deref() == Some(digest) && earlier.boot_id == boot_id && earlier.finished_at.is_some();
    same && earlier.outcome != BootOutcome::Failed
}
