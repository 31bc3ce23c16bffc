_base_ = "mmdet::cascade_rcnn/cascade-rcnn_r50_fpn_1x_coco.py"
custom_imports = dict(imports=["fpn_necks"], allow_failed_imports=False)

model = dict(neck=dict(type="DRFPN"))
train_dataloader = dict(batch_size=8, num_workers=8, batch_sampler=dict(drop_last=True))
optim_wrapper = dict(optimizer=dict(lr=0.03))
auto_scale_lr = dict(base_batch_size=24)
