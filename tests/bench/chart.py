#!/usr/bin/env python3
"""Draws what build.py measured: for each measure the ratio of each peer to mica as bars on a logarithmic scale, with marks where the aims are.

usage: tests/bench/chart.py FILE.json [FILE.svg]     (beside this script, build.svg, if not told)"""
import argparse, json, math, os
from xml.sax.saxutils import escape

WIDTH, LABELS, RIGHT = 960, 350, 60
BAR, GAP, BETWEEN, TOP, BOTTOM = 15, 3, 18, 92, 66
# colours that stay apart for most eyes and in grey
COLOURS = {'docker': '#1b4f72', 'buildkit': '#2e86c1', 'buildah': '#a9cce3'}
NAMES = {'docker': 'docker, classic builder', 'buildkit': 'BuildKit', 'buildah': 'buildah'}
AIM = '#c0392b'


class Scale:
    """a ratio to a place from left to right; decades are equally wide"""

    def __init__(self, ratios):
        self.first = math.floor(math.log10(min(1, *ratios)) * 2) / 2
        self.last = max(1, math.ceil(math.log10(max(ratios)) * 4 + 0.2) / 4)

    def x(self, ratio):
        share = (math.log10(ratio) - self.first) / (self.last - self.first)
        return LABELS + share * (WIDTH - LABELS - RIGHT)

    def marks(self):
        """1, 2, 5, 10, 20 ... as far as the scale goes"""
        for decade in range(math.floor(self.first), math.ceil(self.last) + 1):
            for step in (1, 2, 5):
                if self.first <= math.log10(step) + decade <= self.last:
                    yield step * 10.0 ** decade


def text(x, y, words, size=13, anchor='start', colour='#222', weight='normal'):
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" text-anchor="{anchor}" fill="{colour}" font-weight="{weight}">{escape(words)}</text>'


def number(ratio):
    return f'{ratio:.1f}' if ratio < 10 else f'{ratio:.0f}'


def short(seconds):
    return f'{seconds * 1e3:.1f} ms' if seconds < 0.1 else f'{seconds * 1e3:.0f} ms' if seconds < 1 else f'{seconds:.2f} s'


def aim_of(measure):
    """the ratio at which the aim is met; of one in seconds, that of the fastest peer to those seconds"""
    if measure['aim_ratio']:
        return measure['aim_ratio']
    if measure['aim_seconds'] and measure['fastest_peer']:
        return measure['medians'][measure['fastest_peer']] / measure['aim_seconds']
    return None


def group(measure, scale, y):
    """the bars of one measure; gives what to draw and where it ends"""
    end = y + len(measure['ratios']) * (BAR + GAP) - GAP
    middle, aim = (y + end) / 2, aim_of(measure)
    yield text(LABELS - 12, middle - 3, measure['title'].replace('`', ''), anchor='end', weight='bold', size=12)
    yield text(LABELS - 12, middle + 12, f'mica {short(measure["medians"]["mica"])}', anchor='end', size=11, colour='#555')
    for peer, ratio in sorted(measure['ratios'].items(), key=lambda item: list(COLOURS).index(item[0])):
        left, right = sorted((scale.x(1), scale.x(ratio)))
        yield f'<rect x="{left:.1f}" y="{y}" width="{max(1, right - left):.1f}" height="{BAR}" fill="{COLOURS[peer]}"/>'
        # a number is not crossed by the mark of the aim
        place = scale.x(aim) if aim and right - 2 < scale.x(aim) < right + 30 else right
        yield text(place + 5, y + BAR - 3.5, number(ratio), size=11)
        y += BAR + GAP
    if aim:
        x = scale.x(aim)
        yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{end - len(measure["ratios"]) * (BAR + GAP) - 1}" y2="{end + 4}" stroke="{AIM}" stroke-width="2.5"/>'


def draw(report):
    measures = [measure for measure in report['measures'] if measure['ratios']]
    if not measures:
        raise SystemExit('the file has no ratios: no peer took part')
    scale = Scale([ratio for measure in measures for ratio in [*measure['ratios'].values(), aim_of(measure) or 1]])
    bottom = TOP + sum(len(measure['ratios']) * (BAR + GAP) - GAP + BETWEEN for measure in measures)
    height = bottom + BOTTOM
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" viewBox="0 0 {WIDTH} {height}" font-family="DejaVu Sans, Verdana, sans-serif">',
           f'<rect width="{WIDTH}" height="{height}" fill="white"/>',
           text(20, 30, 'How many times as long as mica the others take', size=18, weight='bold')]
    x = 20
    for peer in COLOURS:
        if any(peer in measure['ratios'] for measure in measures):
            out += [f'<rect x="{x}" y="48" width="14" height="14" fill="{COLOURS[peer]}"/>', text(x + 20, 60, NAMES[peer])]
            x += 40 + 8 * len(NAMES[peer])
    out += [f'<line x1="{x + 7}" x2="{x + 7}" y1="46" y2="64" stroke="{AIM}" stroke-width="2.5"/>', text(x + 16, 60, 'the aim for the fastest peer')]
    for mark in scale.marks():
        place = scale.x(mark)
        strong = mark == 1
        out.append(f'<line x1="{place:.1f}" x2="{place:.1f}" y1="{TOP - 8}" y2="{bottom - 6}" stroke="{"#222" if strong else "#ddd"}" stroke-width="1"/>')
        out.append(text(place, bottom + 10, f'{mark:g}', size=11, anchor='middle', colour='#555'))
    y = TOP
    for measure in measures:
        out += group(measure, scale, y)
        y += len(measure['ratios']) * (BAR + GAP) - GAP + BETWEEN
    out += [text(20, height - 26, f'{report["date"]}, {report["rounds"]} round{"s" if report["rounds"] > 1 else ""}, medians, scale {report["scale"]:g}; logarithmic; longer bars are better for mica', size=11, colour='#555'),
            text(20, height - 10, report['hardware'], size=11, colour='#555'), '</svg>']
    return '\n'.join(out) + '\n'


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('json')
    parser.add_argument('svg', nargs='?', default=os.path.join(os.path.dirname(os.path.abspath(__file__)), 'build.svg'))
    opt = parser.parse_args()
    with open(opt.json) as file:
        picture = draw(json.load(file))
    with open(opt.svg, 'w') as file:
        file.write(picture)


if __name__ == '__main__':
    main()
