# The first RetinaNet row of the S-alpha paper's Tables 3 and 4: P3-P7 with anchors of
# 8-128 px and plain fusion.
_base_ = "./retinanet_r50_s-alpha-fpn_1xb2-1x_tinyperson.py"

model = dict(
    neck=dict(
        start_level=1,
        add_extra_convs="on_input",
        relu_before_extra_convs=True,
        fusion_factor=1.0,
    ),
    bbox_head=dict(
        anchor_generator=dict(octave_base_scale=1, strides=[8, 16, 32, 64, 128])
    ),
)
