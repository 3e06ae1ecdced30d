//! Checks with AWS that are a precaution only: a deployment can begin without their answer.

use std::time::Duration;

use tokio::time::timeout;

use super::output::talk;
use crate::exit::Exit;
use crate::failure::Failure;

/// How long AWS may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// Awaits such a check. If AWS does not answer, a note says what remains `unknown`; only a mistake that AWS finds is an
/// error.
pub(super) async fn advised<T>(unknown: &str, asked: impl Future<Output = Result<T, Failure>>) -> Result<Option<T>, Failure> {
    match timeout(PATIENCE, asked).await {
        Ok(Ok(said)) => return Ok(Some(said)),
        Ok(Err(failure)) if failure.exit == Exit::Document => return Err(failure),
        Ok(Err(failure)) => talk(&format!("note: {unknown}: {failure}")),
        Err(_) => talk(&format!("note: {unknown}: AWS sent no response within {} s", PATIENCE.as_secs())),
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_a_mistake_that_aws_finds_is_an_error() {
        let said = |exit: Option<Exit>| async move {
            let asked = async { exit.map_or(Ok(7), |exit| Err(Failure::new(exit, "refused"))) };
            advised("the check is skipped", asked).await.map_err(|failure| failure.exit)
        };
        assert_eq!(said(None).await, Ok(Some(7)));
        assert_eq!(said(Some(Exit::Failed)).await, Ok(None));
        assert_eq!(said(Some(Exit::Unreachable)).await, Ok(None));
        assert_eq!(said(Some(Exit::Document)).await, Err(Exit::Document));
        let never = std::future::pending::<Result<(), Failure>>();
        assert!(matches!(advised("the check is skipped", never).await, Ok(None)));
    }
}
