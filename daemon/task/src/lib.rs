//! What every long piece of work shares: events, cancellation.
