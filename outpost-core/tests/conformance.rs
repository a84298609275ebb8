//! The stores of the core, held to their contract.

#![allow(missing_docs)]

mod memory {
    use outpost_core::MemoryStore;
    use outpost_core::conformance::Fixture;

    outpost_core::conformance_suite!(|| async {
        let store = MemoryStore::new();
        let other = store.another_process();
        Fixture::new(store).with_other(other)
    });
}

mod shared {
    use std::sync::Arc;

    use outpost_core::{MemoryStore, Store};

    outpost_core::conformance_suite!(|| async { Arc::new(MemoryStore::new()) as Arc<dyn Store> });
}

mod without_faults {
    use outpost_core::{FaultStore, MemoryStore};

    // The guard shows that a factory may answer one.
    outpost_core::conformance_suite!(|| async { (FaultStore::new(MemoryStore::new()), String::from("a guard")) });
}
