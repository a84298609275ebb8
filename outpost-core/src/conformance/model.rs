use super::support::World;
pub(super) async fn random_operations_agree_with_the_reference(_w: World) {}
