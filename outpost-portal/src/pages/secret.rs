//! secret
pub(super) async fn page(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn reveal(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn rotate(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn expire_previous(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn check(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
