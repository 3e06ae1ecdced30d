//! The document in force on this machine: what a boot would read, without a boot and without its lock.

use std::rc::Rc;

use crate::boot::audience::Audience;
use crate::boot::ground::Ground;
use crate::boot::request::Request;
use crate::boot::state::Boot;
use crate::boot::stop::Stop;
use crate::document::source::Layers;
use crate::failure::Explanation;
use crate::host::identity;

/// Reads the layers that a boot of this request would have, and the documents they include, within its deadline. Also
/// returns the warnings of such a boot.
pub(crate) async fn in_force(request: Request, ground: Ground, audience: Rc<dyn Audience>) -> Result<(Layers, Vec<String>), Stop> {
    let boot = Boot::begin(Rc::new(request), ground, audience).await;
    let dmi = identity::dmi(&*boot.ground.host.files).await;
    boot.dmi.get_or_init(|| dmi);
    boot.connect().await.map_err(Stop::Failed)?;
    let limit = boot.request.deadline;
    let (layers, _) = tokio::select! {
        biased;
        read = boot.read_layers(None) => read?,
        () = boot.clock().sleep(limit) => {
            return Err(Stop::Failed(boot.stopped(Explanation::new(format!("the document was not read within {limit:?}"), None))));
        }
    };
    let warnings = boot.recorder.report().warnings.clone();
    Ok((layers, warnings))
}
