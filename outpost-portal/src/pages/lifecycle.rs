//! lifecycle
pub(super) async fn disable(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn confirm_disable(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn enable(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn confirm_enable(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn delete(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
pub(super) async fn confirm_delete(cx: &crate::cx::Cx<'_>, _: &str) -> crate::cx::Answer {
    let _ = cx;
    Err(crate::cx::Fault::NotFound)
}
