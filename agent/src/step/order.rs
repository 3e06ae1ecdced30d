//! The position of a step in the plan, besides its edges.

/// The position of a step among those to which it has no edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As soon as its references are known.
    ByReferences,
    /// As [`AfterTheRest`](Order::AfterTheRest), and before all of those.
    BeforeServices,
    /// After every step that is [`ByReferences`](Order::ByReferences).
    AfterTheRest,
    /// After all of these, including applications, unless they come after it.
    AfterServices,
    /// As soon as its references are known. Only steps that name it wait for it, and the end of the boot.
    Apart,
    /// As soon as its references are known. Only steps that name it wait for it, and the end of the boot does not.
    Beside,
    /// After everything that the boot waits for, whatever its outcome; at once when a required step has failed, since
    /// the boot can no longer succeed. Only the end of the boot waits for it.
    AfterEverything,
}

/// Which others a step waits for, among those that come after everything. For other steps it has no meaning.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Turn {
    /// It waits for the evidence of a failure.
    #[default]
    Any,
    /// As [`Any`](Turn::Any). The step completes a lifecycle hook.
    Hook,
    /// It waits for the evidence of a failure or, after a successful boot, for lifecycle hooks.
    AfterHooks,
    /// It waits for nothing. The step writes evidence.
    Evidence,
}
