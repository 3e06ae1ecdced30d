//! Where a step stands in the plan, besides its edges.

/// Where a step stands among those it has no edge to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// As soon as its references are there.
    ByReferences,
    /// As [`AfterTheRest`](Order::AfterTheRest), and all of those come after it.
    BeforeServices,
    /// After every step that is [`ByReferences`](Order::ByReferences).
    AfterTheRest,
    /// After all of these, applications included, unless they come after it.
    AfterServices,
    /// As soon as its references are there; and no one waits for it who does not name it, the end of the boot apart.
    Apart,
    /// As soon as its references are there; and no one waits for it who does not name it, the end of the boot included.
    Beside,
    /// After everything that the boot waits for, however it ended; at once when a required step has failed, since nothing
    /// can make the boot a good one then. No one waits for it but the end of the boot.
    AfterEverything,
}

/// For whom, of those that come after everything, a step waits. No step else has a turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Turn {
    /// For the evidence of a failure.
    #[default]
    Any,
    /// As [`Any`](Turn::Any). It completes a lifecycle hook.
    Hook,
    /// For the evidence of a failure; of a boot that went well, for lifecycle hooks.
    AfterHooks,
    /// For no one. It writes evidence.
    Evidence,
}
