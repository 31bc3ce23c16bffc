# ASFF behind YOLOX's own neck, with that neck's norm and activation. The paper has no
# such row: it is not a reproduction.
_base_ = "mmdet::yolox/yolox_s_8xb8-300e_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

neck = _base_.model.neck
asff = dict(
    type="ASFF",
    in_channels=neck.out_channels,
    out_channels=neck.out_channels,
    norm_cfg=neck.norm_cfg,
    act_cfg=neck.act_cfg,
)
model = dict(neck=[neck, asff])
