# Consistent supervision of AugFPN's released one-stage detectors.
supervision = dict(
    type="RoIAuxiliary",
    roi_layer=dict(type="RoIAlign", output_size=7, sampling_ratio=2, aligned=False),
    assigner=dict(
        type="MaxIoUAssigner",
        pos_iou_thr=0.5,
        neg_iou_thr=0.5,
        min_pos_iou=0.5,
        match_low_quality=True,
        ignore_iof_thr=-1,
    ),
)
