"""Everything that is drawn: photographs with boxes, polygons and maps, charts, the page that compares two runs.

In: images, boxes, maps, metrics. Out: figures and HTML.
"""
