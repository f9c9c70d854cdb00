//! The real `edgectl` against real clients.
